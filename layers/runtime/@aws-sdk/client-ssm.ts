export {
  GetAutomationExecutionCommand,
  paginateDescribeInstanceInformation,
  paginateListCommandInvocations,
  SSMClient,
  StartAutomationExecutionCommand,
  StopAutomationExecutionCommand,
} from '@aws-sdk/client-ssm';
