import dgram from 'node:dgram';
import packet, { type Answer, type Packet } from 'dns-packet';

/** What a name server does with a question: records, a code of RFC 1035 4.1.1, or nothing. */
type Behaviour = Answer[] | 'SERVFAIL' | 'NXDOMAIN' | 'REFUSED' | 'silence';

const CODES = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 };

/** A name server on loopback; what it was not told it does not have. */
export class NameServer {
  readonly asked: string[] = [];
  readonly #told = new Map<string, Behaviour>();
  readonly #socket = dgram.createSocket('udp4');

  static async start(): Promise<NameServer> {
    const server = new NameServer();
    await new Promise<void>((resolve) => server.#socket.bind(0, '127.0.0.1', resolve));
    return server;
  }

  private constructor() {
    this.#socket.on('message', (message, { port, address }) => {
      const query = packet.decode(message);
      const answer = this.#answerTo(query);
      if (answer) this.#socket.send(packet.encode(answer), port, address);
    });
  }

  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  say(type: string, name: string, behaviour: Behaviour): void {
    this.#told.set(`${type} ${name}`, behaviour);
  }

  close(): void {
    this.#socket.close();
  }

  #answerTo(query: Packet): Packet | undefined {
    const [{ type, name } = { type: 'A', name: '' }] = query.questions ?? [];
    this.asked.push(`${type} ${name}`);
    const behaviour = this.#told.get(`${type} ${name}`) ?? [];
    if (behaviour === 'silence') return undefined;
    const code = typeof behaviour === 'string' ? CODES[behaviour] : 0;
    return {
      type: 'response',
      id: query.id ?? 0,
      flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | code,
      questions: query.questions ?? [],
      answers: typeof behaviour === 'string' ? [] : behaviour,
    };
  }
}
