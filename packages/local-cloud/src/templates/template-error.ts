/** What is wrong with a template or with the parameters given to it, as CloudFormation would refuse it. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}
