/** What the local cloud knows of one managed node. */
export interface NodeSpec {
  id: `i-${string}` | `mi-${string}`;
  /** The folder that stands for `/` on this node: ssl files, orchestration folder, pid files lie below it. */
  root: string;
  tags: Record<string, string>;
  platform: 'Linux' | 'Windows';
  agentVersion: string;
  online: boolean;
  /**
   * What a script on this node finds besides the agent's own variables: the endpoint
   * (`AWS_ENDPOINT_URL`, `AWS_EC2_METADATA_SERVICE_ENDPOINT`) and, where there is no IMDS, credentials.
   */
  environment: Record<string, string>;
}

export interface RunCommandOptions {
  /** The folder made by `installShims`, once per cloud: stands first in the PATH of every script. */
  binFolder: string;
  /** Default: a random UUID. */
  commandId?: string;
  /** Default: `us-east-1`. The script sees it as `AWS_SSM_REGION_NAME`. */
  region?: string;
  /**
   * Simulates Default Host Management: the agent then sets `AWS_SHARED_CREDENTIALS_FILE`, and every AWS
   * call of a careless script is made by the account-wide role in that file, not by the node's own role.
   */
  defaultHostManagementCredentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  /** Default: 1000. Smaller makes `timeoutSeconds` of a document pass faster. */
  millisecondsPerTimeoutSecond?: number;
  /** Ends the script as a cancelled command does; the status is then `Cancelled`. */
  signal?: AbortSignal;
}

/** One invocation, in the words of `ListCommandInvocations` and `GetCommandInvocation`. */
export interface CommandInvocation {
  commandId: string;
  status: 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';
  statusDetails: string;
  /**
   * Exit code of the last step that ran; 137 when the script was killed, 1 when only processes of other groups were
   * left to kill, -1 when nothing ran.
   */
  responseCode: number;
  /** Cut at 24,000 characters, as GetCommandInvocation cuts it. */
  stdout: string;
  /** Cut at 8,000 characters. */
  stderr: string;
  /** The script exited with 194: a real agent would now have rebooted the node and run the script again. */
  rebootRequested: boolean;
}

export type TlsServerKind = 'node' | 'nginx' | 'apache' | 'haproxy';

/** The files of one certificate, as a server's configuration names them. HAProxy reads `combined`, others the two. */
export interface CertificateFiles {
  fullchain: string;
  key: string;
  combined: string;
}

/** One name that a server answers for. */
export interface VirtualHost {
  serverName: string;
  files: CertificateFiles;
}

export interface TlsServerOptions {
  /** The node's root folder. */
  root: string;
  /** The certificate of the default virtual host. */
  files: CertificateFiles;
  /** Default: a free one, chosen by the kernel. */
  port?: number;
  /** The address that stands for the node's localhost: LOCAL_NODE_HOST of its scripts. Default: 127.0.0.1. */
  host?: string;
  /** More names on the same port, told apart by SNI. */
  virtualHosts?: VirtualHost[];
}

export interface TlsServer {
  kind: TlsServerKind;
  host: string;
  port: number;
  /** The process that the pid file names and that a reload signals. */
  pid: number;
  /** Its name for `systemctl`: `tls-server`, `nginx`, `apache2` or `haproxy`. */
  unit: string;
  /** Below the node's root, as the `systemctl` shim finds it. */
  pidFile: string;
  /** What a reload reads again. */
  configurationFile: string;
  /** The serial served now for a name (default: no SNI), lower-case hex. */
  servedSerial(servername?: string): Promise<string>;
  stop(): Promise<void>;
}
