import { connect, createSecureContext, type TLSSocket } from 'node:tls';

export interface Endpoint {
  port: number;
  /** Sent as SNI; none by default. */
  servername?: string;
  /** Default: `127.0.0.1`. */
  host?: string;
}

/** A server that does not answer within this time hangs: local ones answer in milliseconds, and machines are busy. */
const TIMEOUT_MILLISECONDS = 60_000;

/** The serial of the certificate that a port serves, lower-case hex without separators. */
export async function servedSerial(endpoint: Endpoint): Promise<string> {
  const socket = await handshake(endpoint);
  const serial = serialOf(socket);
  socket.destroy();
  return serial;
}

/** Shared: a context of its own for each connection would cost more than the handshake. */
const secureContext = createSecureContext();

interface ConnectionCount {
  handshakes: number;
  failures: string[];
  /** How many handshakes saw which serial, in the order of their first appearance. */
  serials: Map<string, number>;
}

/**
 * Opens TLS connections all the time, a full handshake and one HTTP request each, and counts what fails: what
 * a user would notice of a reload. A connection that is cut after the handshake but before the answer is a
 * failure too.
 */
export function openConnections(
  endpoint: Endpoint,
  options: { clients?: number; pauseMilliseconds?: number } = {},
) {
  const count: ConnectionCount = { handshakes: 0, failures: [], serials: new Map() };
  let stopped = false;
  const client = async () => {
    while (!stopped) {
      try {
        const socket = await handshake(endpoint);
        const serial = serialOf(socket);
        await request(socket, endpoint);
        count.handshakes++;
        count.serials.set(serial, (count.serials.get(serial) ?? 0) + 1);
      } catch (error) {
        count.failures.push(error instanceof Error ? error.message : String(error));
      }
      await new Promise((resolve) => setTimeout(resolve, options.pauseMilliseconds ?? 25));
    }
  };
  const clients = Array.from({ length: options.clients ?? 2 }, client);
  return {
    /** What was counted so far; goes on counting. */
    count: count as Readonly<ConnectionCount>,
    async stop(): Promise<ConnectionCount> {
      stopped = true;
      await Promise.all(clients);
      return count;
    },
  };
}

function handshake({ port, servername, host = '127.0.0.1' }: Endpoint): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // Whether the chain is trusted is the subject of other tests; here it is which certificate is served.
    const socket = connect({
      port,
      host,
      rejectUnauthorized: false,
      secureContext,
      ...(servername ? { servername } : {}),
    });
    socket.setTimeout(TIMEOUT_MILLISECONDS, () => socket.destroy(new Error('no answer in time')));
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('connection closed during the handshake')));
  });
}

function request(socket: TLSSocket, { servername = 'localhost' }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.once('error', reject);
    socket.once('close', () =>
      answer.startsWith('HTTP/1.1 ') ? resolve() : reject(new Error('connection closed without an answer')),
    );
    socket.write(`GET / HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
  });
}

function serialOf(socket: TLSSocket): string {
  return socket.getPeerCertificate().serialNumber.toLowerCase();
}
