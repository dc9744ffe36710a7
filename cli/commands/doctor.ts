import { NAMING } from '../choose.ts';
import type { DoctorOptions } from '../doctor/diagnose.ts';
import { addCommand, type Register } from './command.ts';

export function addDoctor(register: Register): void {
  addCommand<DoctorOptions>(
    register,
    {
      usage: 'doctor [names...]',
      group: 'Diagnose',
      summary: 'checks what most often goes wrong, and says what to do; changes nothing',
      description: `Checks the certificate, the member stack, the servers and their roles, with your own credentials. Without a name it checks every deployment. With --certificate-arn and --tag it checks before you register. ${NAMING}`,
      examples: [
        'acm-export doctor www',
        'acm-export doctor www --target-profile web-account',
        'acm-export doctor --certificate-arn "$CERTIFICATE_ARN" --tag acm-export=web --cert-name www',
      ],
    },
    (command) => {
      command
        .option('--certificate-arn <arn>', 'a certificate that is to be delivered')
        .option('--tag <key=value>', 'tag of the servers that are to get it')
        .option('--cert-name <name>', 'name under which it is to be delivered')
        .option('--target-account <id>', "account of the servers; default: the certificate's")
        .option('--target-region <region>', "Region of the servers; default: the certificate's")
        .option('--target-profile <name>', 'profile for the account of the servers, where it is another one')
        .option(
          '--prefix <prefix>',
          'Prefix of the stacks, where the central stack cannot be read',
          'acm-export',
        );
    },
    async (session, options, names) => {
      // Loaded here: its clients of AWS would make every other command start later.
      const { diagnose } = await import('../doctor/diagnose.ts');
      return diagnose(session, options, names);
    },
  );
}
