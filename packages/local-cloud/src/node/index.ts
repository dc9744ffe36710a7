export { WorkFolder } from '../services/work-folder.ts';
export { runCommandDocument } from './agent.ts';
export { resolveParameters } from './document-parameters.ts';
export { installShims, SHIMS } from './install-shims.ts';
export { openConnections, servedSerial } from './tls-client.ts';
export { isInstalled, reservePort, startTlsServer, writeSelfSigned } from './tls-server.ts';
export type {
  CertificateFiles,
  CommandInvocation,
  NodeSpec,
  RunCommandOptions,
  TlsServer,
  TlsServerKind,
  TlsServerOptions,
} from './types.ts';
