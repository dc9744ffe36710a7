import { existsSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** What a server says, and waits for, before it takes up TLS. */
type Step = { says: string | Buffer } | { hears: (data: Buffer) => boolean; bytes?: number };

const line = (expected: RegExp): Step => ({ hears: (data) => expected.test(data.toString()) });

/**
 * The first words of each protocol: RFC 3207 (smtp), 2595 (imap, pop3), 4217 (ftp), 4511 section 4.14 (ldap), the
 * protocol documents of PostgreSQL (SSLRequest) and MySQL (HandshakeV10).
 */
export const DIALOGUES: Record<string, Step[]> = {
  smtp: [
    { says: '220 mail ESMTP\r\n' },
    line(/^EHLO /),
    { says: '250-mail\r\n250 STARTTLS\r\n' },
    line(/^STARTTLS/),
    { says: '220 go on\r\n' },
  ],
  imap: [
    { says: '* OK ready\r\n' },
    line(/CAPABILITY/),
    { says: '* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK\r\n' },
    line(/STARTTLS/),
    { says: '. OK go on\r\n' },
  ],
  pop3: [{ says: '+OK ready\r\n' }, line(/^STLS/), { says: '+OK go on\r\n' }],
  ftp: [{ says: '220 ready\r\n' }, line(/^AUTH TLS/), { says: '234 go on\r\n' }],
  ldap: [
    { hears: (data) => data.includes('1.3.6.1.4.1.1466.20037') },
    // ExtendedResponse to message 1, success.
    { says: Buffer.from('300c02010178070a010004000400', 'hex') },
  ],
  postgres: [{ hears: (data) => data.toString('hex') === '0000000804d2162f' }, { says: 'S' }],
  // The client goes on with TLS at once.
  mysql: [{ says: greetingOfMysql() }, { hears: (data) => data.length >= 36, bytes: 36 }],
};

/** A greeting of protocol 10 whose capabilities hold CLIENT_SSL (0x0800). */
function greetingOfMysql(): Buffer {
  const payload = Buffer.concat([
    Buffer.from('\x0a8.0.36\0', 'latin1'),
    Buffer.alloc(4 + 8 + 1),
    Buffer.from([0x00, 0x08, 0x21, 0, 0, 0, 0, 21]),
    Buffer.alloc(10 + 13),
  ]);
  return Buffer.concat([Buffer.from([payload.length, 0, 0, 0]), payload]);
}

/**
 * A server that speaks a protocol in clear text first, and then TLS with the files as they are at that moment.
 *
 * @param files certificate chain and key; while they are not there it closes the connection.
 */
export async function startStarttlsServer(protocol: string, files: { chain: string; key: string }) {
  const names: (string | false)[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    const steps = [...(DIALOGUES[protocol] as Step[])];
    let heard: Buffer = Buffer.alloc(0);
    const goOn = () => {
      while (steps[0] && 'says' in steps[0]) socket.write((steps.shift() as { says: string }).says);
      if (steps[0]) return;
      socket.removeAllListeners('data').pause().unshift(heard);
      if (!existsSync(files.key)) {
        socket.destroy();
        return;
      }
      const secured = new TLSSocket(socket, {
        isServer: true,
        cert: readFileSync(files.chain),
        key: readFileSync(files.key),
      });
      secured.on('error', () => undefined);
      secured.on('secure', () =>
        names.push((secured as TLSSocket & { servername: string | false }).servername),
      );
    };
    socket.on('data', (data) => {
      heard = Buffer.concat([heard, data]);
      const next = steps[0];
      if (next && 'hears' in next && next.hears(heard)) {
        heard = heard.subarray(next.bytes ?? heard.length);
        steps.shift();
        goOn();
      }
    });
    goOn();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    /** The names (SNI) that clients asked for. */
    names,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
