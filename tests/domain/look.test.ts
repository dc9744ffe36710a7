import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Deployment, Finding, NodeRecord } from '../../functions/domain/deployment.ts';
import { type Endpoint, endpointChanges } from '../../functions/domain/endpoint.ts';
import { parseLook, sightOf } from '../../functions/domain/look.ts';

const ID = '0123456789abcdef01234567';
const OTHER_ID = 'f'.repeat(24);
const UNTIL = '2027-06-09T23:59:59Z';
const LATER = '2027-12-01T23:59:59Z';
const AT = '2026-11-24T12:00:00Z';

const line = (...fields: (string | number)[]) => fields.join('\t');
const certificate = (fields: Partial<Record<'id' | 'serial' | 'until' | 'files' | 'port', string>> = {}) => {
  const { id = ID, serial = '02', until = UNTIL, files = 'ok', port = '-' } = fields;
  return line('certificate', 'web-prod', id, 7, serial, until, files, port);
};
const endpoint = (port = 9443, serial = 'aa', until = UNTIL) =>
  line('endpoint', port, serial, until, 'CN=Some CA', 'CN=www.example.com');
/** An answer as the script ends it. */
const answer = (...lines: string[]) => {
  const count = (word: string) => lines.filter((text) => text.startsWith(word)).length;
  return `${[...lines, line('end', count('certificate'), count('endpoint'))].join('\n')}\n`;
};

describe('an answer', () => {
  test('is read whole', () => {
    expect(parseLook(answer(certificate({ serial: '0ABC', port: `443=00FE=${LATER}` }), endpoint()))).toEqual(
      {
        certificates: [
          {
            CertName: 'web-prod',
            DeploymentId: ID,
            RolloutNumber: 7,
            Serial: '0abc',
            NotAfter: UNTIL,
            Files: 'ok',
            Port: 443,
            Served: { Serial: 'fe', NotAfter: LATER },
          },
        ],
        endpoints: [
          { Port: 9443, Serial: 'aa', NotAfter: UNTIL, Issuer: 'CN=Some CA', Subject: 'CN=www.example.com' },
        ],
      },
    );
    expect(parseLook(answer())).toEqual({ certificates: [], endpoints: [] });
    const most = answer(...Array.from({ length: 128 }, (_, port) => endpoint(port + 1)));
    expect(parseLook(most)?.endpoints).toHaveLength(128);
    // What openssl could not read on the node.
    expect(parseLook(answer(endpoint(9443, '-', '-')))).toEqual({ certificates: [], endpoints: [] });
  });

  test.each<[string, string]>([
    ['nothing', ''],
    ['no end', certificate()],
    ['the end cut', answer(certificate()).slice(0, -4)],
    ['fewer lines than it counts', line('end', 1, 0)],
    ['more lines than it counts', `${certificate()}\n${line('end', 0, 0)}`],
    ['a word that is none of the script', answer(certificate(), 'bash: warning')],
    ['another word at its end', `${certificate()}\n${line('stop', 1, 0)}`],
    ['a name twice that counts once', `${certificate()}\n${certificate()}\n${line('end', 1, 0)}`],
    ['fewer ports than it counts', `${endpoint()}\n${line('end', 0, 2)}`],
    ['more ports than it counts', `${endpoint()}\n${line('end', 0, 0)}`],
    ['something before a line', `x${certificate()}\n${line('end', 1, 0)}`],
    ['something behind a line', `${certificate()}x\n${line('end', 1, 0)}`],
    ['something before its end', `${certificate()}\nx${line('end', 1, 0)}`],
    ['something behind its end', `${certificate()}\n${line('end', 1, 0)}x`],
    ['a second end', `${answer()}${answer()}`],
    ['a name twice', answer(certificate(), certificate({ serial: '03' }))],
    ['a name that is none', answer(certificate().replace('web-prod', '../web'))],
    ['a control character', answer(endpoint().replace('Some CA', 'Some\u001b[31mCA'))],
    ['another direction of writing', answer(endpoint().replace('Some CA', 'Some\u202eCA'))],
    ['a subject that is too long', answer(endpoint().replace('Some CA', 'x'.repeat(101)))],
    ['a time that is none', answer(certificate({ until: '2027-13-45T00:00:00Z' }))],
    ['a port that is none', answer(certificate({ port: `0=aa=${UNTIL}` }))],
    ['something else than what a port serves', answer(certificate({ port: '443=well' }))],
    ['the private key', answer('-----BEGIN PRIVATE KEY-----')],
    [
      'one line more than a node can have',
      answer(...Array.from({ length: 129 }, (_, port) => endpoint(port + 1))),
    ],
    ['ten thousand lines', answer(...Array.from({ length: 10_000 }, (_, port) => endpoint(port + 1)))],
  ])('with %s counts for nothing', (_, output) => {
    expect(parseLook(output)).toBeUndefined();
  });

  test('that was cut or changed anywhere never shows what the whole one does not', () => {
    const whole = answer(certificate({ port: `443=02=${UNTIL}` }), endpoint());
    fc.assert(
      fc.property(fc.nat(whole.length - 2), fc.string({ maxLength: 3 }), (position, text) => {
        expect(parseLook(whole.slice(0, position))).toBeUndefined();
        const look = parseLook(whole.slice(0, position) + text + whole.slice(position));
        expect(look === undefined || look.certificates.length + look.endpoints.length === 2).toBe(true);
      }),
    );
  });
});

const deployment = {
  CertName: 'web-prod',
  DeploymentId: ID,
  Observed: { VersionId: 'v2', Outcome: 'INSTALLED' },
} as Deployment;
const record: NodeRecord = {
  DeploymentId: ID,
  NodeId: 'i-1',
  Outcome: 'installed',
  Serial: '02',
  VersionId: 'v2',
  Serves: { Serial: '02', VersionId: 'v2', NotAfter: UNTIL, SeenAt: '2026-11-20T00:00:00Z', Seen: 'files' },
};
const before: Finding = { Kind: 'foreign', Text: 'x', Since: '2026-11-23T00:00:00Z' };
const see = (text: string, changed: Partial<NodeRecord> = {}) =>
  sightOf(deployment, { ...record, ...changed }, parseLook(text), AT);

describe('what a look says of a node', () => {
  test.each<[string, string, string | undefined]>([
    ['all is as it was installed', answer(certificate()), undefined],
    ['the port serves it', answer(certificate({ port: `443=02=${UNTIL}` })), undefined],
    ['an installation is under way', answer(certificate({ files: 'unfinished', serial: '01' })), undefined],
    ['the files are those of another version', answer(certificate({ serial: '01' })), 'older'],
    ['the certificate is gone', answer(), 'missing'],
    ['its files are gone', answer(certificate({ files: 'missing', serial: '-', until: '-' })), 'missing'],
    ['a file was changed', answer(certificate({ files: 'damaged:sums' })), 'damaged'],
    ['the name is in other hands', answer(certificate({ id: OTHER_ID })), 'taken'],
    ['the owner is not known', answer(certificate({ id: '-' })), 'taken'],
    ['the port serves another one', answer(certificate({ port: `443=01=${UNTIL}` })), 'foreign'],
    ['the port says nothing', answer(certificate({ port: '443=silent' })), 'silent'],
    ['nobody listens', answer(certificate({ port: '443=closed' })), 'silent'],
    ['the port speaks no TLS', answer(certificate({ port: '443=no-tls' })), 'silent'],
    ['the certificate cannot be read', answer(certificate({ serial: '-', until: '-' })), 'unseen'],
    ['the answer was forged', answer(certificate(), 'i-2 is fine'), 'unseen'],
  ])('%s', (_, text, kind) => {
    expect(see(text).Finding?.Kind).toBe(kind);
  });

  test('nothing changes on one that is as its record says', () => {
    expect(see(answer(certificate()))).toEqual({});
  });

  test('what it serves is what the port shows, and else what lies there', () => {
    expect(see(answer(certificate({ port: `443=01=${LATER}` }))).Serves).toEqual({
      Serial: '01',
      NotAfter: LATER,
      SeenAt: AT,
      Seen: 'port',
    });
    expect(see(answer(certificate({ serial: '01', until: LATER }))).Serves).toMatchObject({
      Serial: '01',
      Seen: 'files',
    });
    // A port that is asked in vain shows nothing, whatever lies there.
    expect(
      see(answer(certificate({ serial: '01', until: LATER, port: '443=closed' }))).Serves,
    ).toBeUndefined();
    // Nor do files of another deployment.
    expect(see(answer(certificate({ id: OTHER_ID, serial: '01' }))).Serves).toBeUndefined();
  });

  test('a node that never said that it holds the version has no finding, but what it serves is known', () => {
    const failed = { Outcome: 'failed', VersionId: 'v1', Serial: '01', Serves: undefined } as never;
    expect(see(answer(certificate({ serial: '01' })), failed)).toEqual({
      Serves: { Serial: '01', VersionId: 'v1', NotAfter: UNTIL, SeenAt: AT, Seen: 'files' },
    });
  });

  test.each<[string, string, Finding | undefined, string | null | undefined]>([
    ['all is well again', answer(certificate({ port: `443=02=${UNTIL}` })), before, null],
    ['it was not reached', '', before, undefined],
    ['the port says nothing now', answer(certificate({ port: '443=silent' })), before, undefined],
    ['the port was not asked', answer(certificate()), before, undefined],
    ['the files are damaged besides', answer(certificate({ files: 'damaged:sums' })), before, 'damaged'],
    ['one that was not reached is', answer(certificate()), { ...before, Kind: 'unseen' }, null],
  ])('a finding is cleared only by a look that reached as much: %s', (_, text, Finding, kind) => {
    const found = see(text, Finding ? { Finding } : {}).Finding;
    expect(found === null ? null : found?.Kind).toBe(kind);
  });

  test('a finding that stays keeps the time since when it is known', () => {
    const changed = see(answer(certificate({ port: `443=03=${UNTIL}` })), { Finding: before }).Finding;
    expect(changed).toMatchObject({ Kind: 'foreign', Since: before.Since });
    expect(see(answer(certificate({ serial: '01' }))).Finding).toMatchObject({ Kind: 'older', Since: AT });
  });
});

describe('ports that serve what nobody registered', () => {
  const discovery = (looks: Record<string, string | undefined>, gone: string[] = []) => ({
    Account: '444455556666',
    Region: 'eu-central-1',
    looks: new Map(Object.entries(looks).map(([id, text]) => [id, text ? parseLook(text) : undefined])),
    gone: new Set(gone),
    at: AT,
    registered: new Set(['02']),
  });
  const known = (fields: Partial<Endpoint> = {}): Endpoint => ({
    Account: '444455556666',
    Region: 'eu-central-1',
    NodeId: 'i-1',
    Port: 9443,
    Serial: 'aa',
    NotAfter: UNTIL,
    Issuer: 'CN=Some CA',
    Subject: 'CN=www.example.com',
    Since: '2026-11-01T00:00:00Z',
    ...fields,
  });

  test('are listed when they are seen first, and not written again while they stay', () => {
    const first = endpointChanges([], discovery({ 'i-1': answer(endpoint()) }));
    expect(first).toEqual({ put: [known({ Since: AT })], drop: [] });
    expect(endpointChanges(first.put, discovery({ 'i-1': answer(endpoint()) }))).toEqual({
      put: [],
      drop: [],
    });
  });

  test('that serve a certificate which is registered elsewhere are none', () => {
    expect(endpointChanges([], discovery({ 'i-1': answer(endpoint(9443, '02')) })).put).toEqual([]);
  });

  test('with another certificate count anew', () => {
    const told = known({ ToldAt: AT });
    const { put } = endpointChanges([told], discovery({ 'i-1': answer(endpoint(9443, 'bb')) }));
    expect(put).toEqual([known({ Serial: 'bb', Since: AT })]);
  });

  test('are cleared when two looks agree, not by a node that does not answer, and come back as they were', () => {
    const quiet = { 'i-1': answer() };
    const missed = known({ MissedAt: AT });
    expect(endpointChanges([known()], discovery(quiet))).toEqual({ put: [missed], drop: [] });
    expect(endpointChanges([missed], discovery(quiet))).toEqual({ put: [], drop: [missed] });
    expect(endpointChanges([missed], discovery({ 'i-1': undefined }))).toEqual({ put: [], drop: [] });
    expect(endpointChanges([missed], discovery({ 'i-1': answer(endpoint()) })).put).toEqual([known()]);
    expect(endpointChanges([missed], discovery({}, ['i-1'])).drop).toEqual([missed]);
    expect(endpointChanges([known()], discovery({}))).toEqual({ put: [], drop: [] });
  });
});
