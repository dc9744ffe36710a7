#!/usr/bin/env bash
# Hands the events in a dead-letter queue back to the functions that they were meant for, each once, and deletes
# those that were accepted. Run it when the cause is repaired. What fails again comes back into the queue.
#
#   scripts/replay-dead-letters.sh [--list] QUEUE...
#   scripts/replay-dead-letters.sh acm-export-undelivered-events acm-export-failed-events
#
# --list shows what lies there and changes nothing.
#
# SQS itself moves messages back only where the source is another queue (StartMessageMoveTask); here it is
# EventBridge, Scheduler or Lambda. All functions may get an event twice. Runs of a schedule that were missed are
# deleted, not replayed: the next run does the same work.
#
# Needs the AWS CLI (1 or 2), Node.js, and permission for sqs:GetQueueUrl, sqs:GetQueueAttributes,
# sqs:ReceiveMessage, sqs:DeleteMessage and lambda:InvokeFunction.
set -euo pipefail

usage() {
  sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p;}' "$0" >&2
  exit 2
}

list=no
if [[ ${1-} == --list ]]; then
  list=yes
  shift
fi
(($#)) || usage
[[ $1 != -* ]] || usage

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Version 1 of the AWS CLI knows the variable, but not for SQS.
sqs() {
  aws ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} sqs "$@"
}

# Reads a received message. Writes the payload, and prints what it is: function, receipt handle, and a line for people.
# shellcheck disable=SC2016 # the dollars are JavaScript's
READ_MESSAGE='
  const fs = require("node:fs");
  const [received, payload] = process.argv.slice(1);
  const [message] = JSON.parse(fs.readFileSync(received, "utf8") || "{}").Messages ?? [];
  if (!message) process.exit(3);
  const attributes = message.MessageAttributes ?? {};
  const attribute = (name) => attributes[name]?.StringValue;
  let target = "unknown", event, why = "", what = "";
  try {
    event = JSON.parse(message.Body);
  } catch {}
  if (attribute("SCHEDULE_ARN") || /:schedule\//.test(attribute("RULE_ARN") ?? "")) {
    target = "schedule";
    what = attribute("SCHEDULE_ARN") ?? attribute("RULE_ARN");
    why = [attribute("ERROR_CODE"), attribute("ERROR_MESSAGE")].join(": ");
  } else if (attribute("RULE_ARN")) {
    target = attribute("TARGET_ARN");
    why = [attribute("ERROR_CODE"), attribute("ERROR_MESSAGE")].join(": ");
  } else if (event?.requestContext?.functionArn && "requestPayload" in event) {
    target = event.requestContext.functionArn.replace(/:\$LATEST$/, "");
    const { errorType, errorMessage } = event.responsePayload ?? {};
    why = `${event.requestContext.condition}: ${errorType}: ${errorMessage}`;
    event = event.requestPayload;
  }
  if (target !== "schedule") {
    what = [event?.["detail-type"] ?? event?.Task ?? "not an event", ...(event?.resources ?? []).slice(0, 1)].join(" ");
  }
  fs.writeFileSync(payload, JSON.stringify(event ?? null));
  const line = `${what} -> ${target.split(":").at(-1)} (${why})`.replace(/[\x00-\x1f]+/g, " ").slice(0, 400);
  process.stdout.write([target, message.ReceiptHandle, line].join("\n") + "\n");
'

# replay_next QUEUE_URL: one message. Returns 3 when none is to be seen. A caller that looks at the status of a function
# switches `set -e` off in it: hence the returns, without which a message could be deleted that nobody accepted.
replay_next() {
  local url=$1 target receipt line
  # 60 s: hidden for as long as it is worked on, and with --list so that each is seen once.
  sqs receive-message --queue-url "$url" --max-number-of-messages 1 --message-attribute-names All \
    --visibility-timeout 60 --wait-time-seconds 5 --output json >"$work/received" || return 1
  node -e "$READ_MESSAGE" "$work/received" "$work/payload" >"$work/message" || return $?
  { read -r target && read -r receipt && read -r line; } <"$work/message"
  echo "  $line"
  [[ $list == no ]] || return 0
  case $target in
    unknown)
      echo '    left there: nothing here writes such messages' >&2
      return 0
      ;;
    schedule) ;;
    *)
      aws lambda invoke --function-name "$target" --invocation-type Event \
        --payload "fileb://$work/payload" "$work/answer" >/dev/null || return 1
      ;;
  esac
  sqs delete-message --queue-url "$url" --receipt-handle "$receipt"
}

for queue in "$@"; do
  url=$(sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text)
  count=$(sqs get-queue-attributes --queue-url "$url" \
    --attribute-names ApproximateNumberOfMessages --query Attributes.ApproximateNumberOfMessages --output text)
  echo "$queue: about $count messages"
  # As many as lay there in the beginning: what fails again at once must not be replayed for ever.
  for ((done = 0; done < count; done++)); do
    status=0
    replay_next "$url" || status=$?
    case $status in
      0) ;;
      3) break ;;
      *) exit "$status" ;;
    esac
  done
done
