/** What `@jest/globals` stands for: the runner's own globals, which the package itself gives to a test in a virtual machine only. */
export const { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } =
  globalThis as unknown as typeof import('@jest/globals');
