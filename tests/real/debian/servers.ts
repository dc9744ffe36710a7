// How an administrator gives Debian's servers their certificate: the package's own configuration, but for the lines
// that name certificate and key.

import type { Codename } from './release.ts';

export interface Server {
  name: string;
  /** Debian's package, whose version is told. */
  package: string;
  /** What stands in ReloadServices. */
  unit: string | Record<Codename, string>;
  /** More options of the deployment. */
  options?: Record<string, string>;
  /** Shell that writes the lines; CURRENT is the folder with the files. */
  configure: string;
  /** Files that one wrong line breaks, and how an install under it ends; the server goes on as it is. */
  broken?: { files: string; result: { Outcome: string; ExitCode: number } };
  /** How a client reaches it. */
  port: number;
  starttls?: string;
}

export const SERVERS: Server[] = [
  {
    name: 'nginx',
    package: 'nginx',
    unit: 'nginx',
    options: { VerifyPort: '443' },
    configure: `
      sed -i -e 's/# \\(listen .*443\\)/\\1/' -e "s|# include snippets/snakeoil.conf;|\\
        ssl_certificate $CURRENT/fullchain.pem;\\n\\tssl_certificate_key $CURRENT/privkey.pem;|" \\
        /etc/nginx/sites-available/default`,
    broken: { files: '/etc/nginx/nginx.conf', result: { Outcome: 'rolled-back', ExitCode: 60 } },
    port: 443,
  },
  {
    name: 'Apache',
    package: 'apache2',
    unit: 'apache2',
    options: { VerifyPort: '443' },
    configure: `
      sed -i -E -e "s|^(\\s*SSLCertificateFile\\s+).*|\\1$CURRENT/fullchain.pem|" \\
        -e "s|^(\\s*SSLCertificateKeyFile\\s+).*|\\1$CURRENT/privkey.pem|" /etc/apache2/sites-available/default-ssl.conf
      a2enmod --quiet ssl
      a2ensite --quiet default-ssl`,
    broken: { files: '/etc/apache2/apache2.conf', result: { Outcome: 'rolled-back', ExitCode: 60 } },
    port: 443,
  },
  {
    name: 'HAProxy',
    package: 'haproxy',
    unit: 'haproxy',
    options: { VerifyPort: '443', ExtraFormats: 'combined-pem' },
    configure: `
      printf '%s\\n' '' 'frontend www' "  bind :443 ssl crt $CURRENT/combined.pem" '  http-request return status 200' \\
        >>/etc/haproxy/haproxy.cfg`,
    broken: { files: '/etc/haproxy/haproxy.cfg', result: { Outcome: 'rolled-back', ExitCode: 60 } },
    port: 443,
  },
  {
    name: 'Postfix',
    package: 'postfix',
    // In 11 and 12 `postfix` only hands a reload on, and systemd does not tell whether that worked.
    unit: { bullseye: 'postfix@-', bookworm: 'postfix@-', trixie: 'postfix' },
    configure: `
      postconf -e "smtpd_tls_cert_file = $CURRENT/fullchain.pem" "smtpd_tls_key_file = $CURRENT/privkey.pem"`,
    options: { VerifyPort: '25', VerifyProtocol: 'smtp' },
    // Nothing to break: each of its processes reads the configuration when it starts, reload or not.
    port: 25,
    starttls: 'smtp',
  },
  {
    name: 'Dovecot',
    package: 'dovecot-core',
    unit: 'dovecot',
    options: { VerifyPort: '143', VerifyProtocol: 'imap' },
    // 2.3, then 2.4.
    configure: `
      sed -i -e "s|^ssl_cert = .*|ssl_cert = <$CURRENT/fullchain.pem|" -e "s|^ssl_key = .*|ssl_key = <$CURRENT/privkey.pem|" \\
        -e "s|^ssl_server_cert_file = .*|ssl_server_cert_file = $CURRENT/fullchain.pem|" \\
        -e "s|^ssl_server_key_file = .*|ssl_server_key_file = $CURRENT/privkey.pem|" /etc/dovecot/conf.d/10-ssl.conf`,
    // Its reload says nothing of a wrong line: the port does.
    broken: { files: '/etc/dovecot/dovecot.conf', result: { Outcome: 'rolled-back', ExitCode: 63 } },
    port: 143,
    starttls: 'imap',
  },
  {
    name: 'PostgreSQL',
    package: 'postgresql',
    // `postgresql` only hands a reload on.
    unit: { bullseye: 'postgresql@13-main', bookworm: 'postgresql@15-main', trixie: 'postgresql@17-main' },
    // It reads the key as its own user, who is in Debian's group for keys.
    options: { KeyGroup: 'ssl-cert', KeyMode: '0640', VerifyPort: '5432', VerifyProtocol: 'postgres' },
    configure: `
      sed -i -e "s|^ssl_cert_file = .*|ssl_cert_file = '$CURRENT/fullchain.pem'|" \\
        -e "s|^ssl_key_file = .*|ssl_key_file = '$CURRENT/privkey.pem'|" /etc/postgresql/*/main/postgresql.conf`,
    // Files are back, but a reload fails until an administrator mends the line.
    broken: { files: '/etc/postgresql/*/main/postgresql.conf', result: { Outcome: 'failed', ExitCode: 70 } },
    port: 5432,
    starttls: 'postgres',
  },
];
