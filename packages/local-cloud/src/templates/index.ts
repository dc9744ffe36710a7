export { parseTemplate } from './parse-yaml.ts';
export { resourcePoliciesOf } from './policies.ts';
export { type Deployed, type Resource, resolveTemplate } from './resolve-template.ts';
