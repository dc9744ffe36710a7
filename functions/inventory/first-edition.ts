import {
  type Deployment,
  type Ended,
  firstEditionNameOf,
  type Outcome,
  orderOf,
  type Running,
  versionIdOf,
  type Wanted,
} from '../domain/deployment.ts';

/** What the first edition wrote into an item, and this edition does not. */
export const FIRST_EDITION_NAMES = [
  'Rollout',
  'Pending',
  'LastRollout',
  'LastDryRun',
  'Failures',
  'FailingSince',
] as const;

/** What tells whether an item of the first edition has changed. */
export const FIRST_EDITION_MARKS = [
  'RolloutNumber',
  'UpdatedAt',
  'Rollout.ClaimedAt',
  'Rollout.StartedAt',
  'Rollout.AutomationExecutionId',
  'Pending.CorrelationId',
  'LastRollout.ExecutionArn',
  'LastDryRun.ExecutionArn',
  'Wanted.Generation',
];

type RolloutOrder = Pick<Wanted, 'Serial' | 'Cause' | 'CorrelationId'> & { CertificateArn: string };
type Last = Omit<Ended, 'RolloutNumber' | 'Outcome'> & { Number: number; Status: Outcome };

interface FirstEdition extends Deployment {
  Rollout?: RolloutOrder &
    Pick<Running, 'StartedAt' | 'AutomationExecutionId'> & {
      Trial?: Pick<Deployment, 'Options' | 'MaxConcurrency' | 'MaxErrors'>;
      ClaimedAt: string;
      StartDelaySeconds?: number;
    };
  Pending?: RolloutOrder;
  LastRollout?: Last;
  LastDryRun?: Last;
  Failures?: number;
  FailingSince?: string;
}

/**
 * A deployment from its item, of either edition.
 *
 * The first edition had no generations: they begin at 1, and a rollout that runs, and what waits behind it, each get the
 * next one, so that both are ahead of what was observed. Its functions may still run while a stack is updated: what they
 * wrote beside the shapes of this edition is newer than these.
 */
export function readItem(item: Record<string, unknown>): Deployment {
  const deployment = inThisShape(item);
  // An older edition called what was only tried by this name; the index does so until the next dry run.
  const isTried = deployment.DryRunOnly && deployment.Status === 'WAITING';
  return isTried ? { ...deployment, Status: 'TRIED' } : deployment;
}

function inThisShape(item: Record<string, unknown>): Deployment {
  const found = item as unknown as FirstEdition;
  const isNew =
    (found.Wanted || found.DryRunOnly) && FIRST_EDITION_NAMES.every((name) => found[name] === undefined);
  if (isNew) {
    return found;
  }
  const {
    Rollout: claim,
    Pending: followUp,
    LastRollout: last,
    LastDryRun,
    Failures,
    FailingSince,
    ...kept
  } = found;
  const deployment: Deployment = { ...kept, FirstEditionItem: item };
  const rollout = claim?.Cause === 'DRY_RUN' ? undefined : claim;
  const observed = kept.Observed?.Generation ?? (last ? 1 : 0);
  const running = (kept.Wanted?.Generation ?? observed) + (rollout ? 1 : 0);
  const wish = followUp ?? rollout ?? kept.Wanted ?? last;
  if (!kept.DryRunOnly) {
    deployment.Wanted = {
      Generation: Math.max(1, running + (followUp ? 1 : 0)),
      Serial: wish?.Serial ?? kept.Serial ?? '',
      NotBefore: '',
      Cause: wish?.Cause ?? 'RECONCILE',
      CorrelationId: wish?.CorrelationId ?? 'first-edition',
      At: kept.UpdatedAt,
    };
  }
  if (claim) {
    const { Trial, ClaimedAt, CertificateArn, StartDelaySeconds = 0, ...begun } = claim;
    deployment.Running = {
      ...begun,
      RolloutNumber: kept.RolloutNumber,
      Generation: rollout ? running : 0,
      Order: { ...orderOf(deployment), ...Trial, CertificateArn },
      NotBefore: '',
      BeganAt: ClaimedAt,
      StartDelaySeconds,
      ExecutionName: firstEditionNameOf(kept.DeploymentId, claim.Serial, kept.RolloutNumber),
    };
  }
  // The first edition did not see it, ran others since, and did not remove it.
  if (!claim && kept.Running && kept.Running.RolloutNumber !== kept.RolloutNumber) {
    delete deployment.Running;
  }
  if (last) {
    const VersionId =
      last.Status === 'FAILED' ? kept.VersionId : versionIdOf(kept.CertificateArn, last.Serial);
    deployment.Observed = {
      ...endedOf(last),
      Generation: observed,
      NotBefore: '',
      ...(VersionId ? { VersionId } : {}),
      Failures: Failures ?? 0,
      ...(FailingSince ? { FailingSince } : {}),
    };
  }
  if (LastDryRun) {
    deployment.LastTrial = endedOf(LastDryRun);
  }
  return deployment;
}

function endedOf({ Number: RolloutNumber, Status: Outcome, ...last }: Last): Ended {
  return { ...last, RolloutNumber, Outcome };
}
