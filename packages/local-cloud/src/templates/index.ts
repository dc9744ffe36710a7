export { resolveParameters } from './parameters.ts';
export { parseTemplate } from './parse-yaml.ts';
export { managedPoliciesOf, resourcePoliciesOf, rolesOf } from './policies.ts';
export { type Deployed, type Resource, resolveTemplate } from './resolve-template.ts';
