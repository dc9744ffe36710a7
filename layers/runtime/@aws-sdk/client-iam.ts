export { GetRoleCommand, IAMClient } from '@aws-sdk/client-iam';
