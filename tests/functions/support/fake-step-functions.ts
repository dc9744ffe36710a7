import { awsError, FakeService } from './fake-service.ts';

export type ExecutionStatus = 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'TIMED_OUT' | 'ABORTED';

export interface Execution {
  arn: string;
  name: string;
  input: string;
  status: ExecutionStatus;
}

/** StartExecution, DescribeExecution and StopExecution as their API reference describes them. */
export class FakeStepFunctions extends FakeService {
  readonly executions = new Map<string, Execution>();

  running(): Execution[] {
    return [...this.executions.values()].filter((execution) => execution.status === 'RUNNING');
  }

  /** Ends an execution from outside. */
  end(arn: string, status: ExecutionStatus): void {
    (this.executions.get(arn) as Execution).status = status;
  }

  StartExecution({ stateMachineArn, name, input }: Record<string, string>) {
    const arn = `${stateMachineArn?.replace(':stateMachine:', ':execution:')}:${name}`;
    if (!/^[0-9A-Za-z_-]{1,80}$/.test(name ?? '')) {
      throw awsError('InvalidName', `Invalid Name: ${name}`);
    }
    const existing = this.executions.get(arn);
    if (existing && (existing.status !== 'RUNNING' || existing.input !== input)) {
      throw awsError('ExecutionAlreadyExists', `Execution Already Exists: ${arn}`);
    }
    if (!existing) {
      this.executions.set(arn, { arn, name: name as string, input: input as string, status: 'RUNNING' });
    }
    return { executionArn: arn };
  }

  DescribeExecution({ executionArn }: { executionArn: string }) {
    const execution = this.#find(executionArn);
    return { executionArn, name: execution.name, status: execution.status };
  }

  StopExecution({ executionArn }: { executionArn: string }) {
    const execution = this.#find(executionArn);
    if (execution.status === 'RUNNING') {
      execution.status = 'ABORTED';
    }
    return { stopDate: new Date(0) };
  }

  #find(arn: string): Execution {
    const execution = this.executions.get(arn);
    if (!execution) {
      throw awsError('ExecutionDoesNotExist', `Execution Does Not Exist: '${arn}'`);
    }
    return execution;
  }
}
