export type {
  Cloud,
  CloudOptions,
  DeployOptions,
  Services,
  Stack,
  WorldOptions,
} from './cloud.ts';
export { createCloud, startCloud } from './cloud.ts';
export type { PolicyDocument } from './iam/evaluate.ts';
export { NotModelled } from './iam/not-modelled.ts';
export type { Certificate } from './services/acm.ts';
export { CertificateAuthority, encryptPrivateKey } from './services/certificate-authority.ts';
export type { Clock } from './services/clock.ts';
export type { CustomResource, CustomStack, StackResult } from './services/custom-resources.ts';
export { DELAYS, type DelayOptions } from './services/delays.ts';
export type { CodeOf, DeclaredFunction, FunctionCode } from './services/deploy.ts';
export { type ClientConfig, signingName } from './services/endpoint.ts';
export type { Fault, FaultKind, Faults } from './services/faults.ts';
export type { Identity } from './services/identities.ts';
export type { ClientClass, ClientOptions } from './services/in-process.ts';
export type { Handler, InvokeResult } from './services/lambda.ts';
export type { AgentAnswer, NodeAgent } from './services/managed-nodes.ts';
export type { CloudNode, NodeOptions, ScriptVariables } from './services/node-fleet.ts';
export { quotas, serverError, throttled } from './services/quotas.ts';
export type { Channel, Count, Emission, RecordedCall, Recording } from './services/recording.ts';
export { type BusEvent, type Caller, type Operation, ServiceError } from './services/service.ts';
export type { SsmDocument } from './services/ssm-documents.ts';
export type { Execution } from './services/step-functions.ts';
export { VirtualClock } from './services/virtual-clock.ts';
