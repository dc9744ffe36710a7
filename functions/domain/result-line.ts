import * as z from 'zod';

const LONGEST_NOTE = 400;

/** Control and format characters could make a line look like another one to a reader. */
const plainText = (text: string) =>
  text
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, LONGEST_NOTE);

/** The one line that the install script prints. Anything else on standard output is not a result. */
const ResultLine = z.object({
  Outcome: z.enum(['installed', 'unchanged', 'rolled-back', 'failed', 'dry-run-passed']),
  ExitCode: z.int().min(0).max(255),
  Serial: z
    .string()
    .regex(/^[0-9a-f]*$/)
    .optional(),
  VersionId: z
    .string()
    .regex(/^[0-9a-f]*$/)
    .optional(),
  RolloutNumber: z.int(),
  DeploymentId: z.string(),
  Step: z.string().max(64).transform(plainText).optional(),
  Error: z.string().max(400).transform(plainText).optional(),
  /** The highest rollout number that the node has seen, where it refuses one. First-edition scripts print none. */
  HeldNumber: z.int().positive().optional().catch(undefined),
  /** Whether the port was proved in this run. Scripts of older editions do not say it. */
  Seen: z.enum(['port', 'files']).optional().catch(undefined),
  /** Said beside a result, so that no fault in it may cost the result. First-edition scripts print none. */
  Note: z.string().transform(plainText).optional().catch(undefined),
});

export type ResultLine = z.infer<typeof ResultLine>;

/** Finds the result line in a command's output; undefined when there is none, or more than one. */
export function parseResultLine(output: string): ResultLine | undefined {
  const lines = output.split('\n').filter((line) => line.startsWith('{'));
  if (lines.length !== 1) {
    return undefined;
  }
  try {
    const parsed = ResultLine.safeParse(JSON.parse(lines[0] as string));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
