"""Registers a deployment by a client that openapi-python-client has made, and waits until its servers serve it.

Usage: register.py FOLDER_OF_THE_CLIENT CERT_NAME TAG_VALUE VERIFY_PORT. Address, credentials and certificate are those
that `make local` prints.
"""

import json
import os
import sys
import time

import httpx
from signing import signed_headers

folder, cert_name, tag_value, verify_port = sys.argv[1:]
sys.path.insert(0, folder)

from acm_export_deployments_client import Client  # noqa: E402
from acm_export_deployments_client.api.deployments import (  # noqa: E402
    get_deployment,
    list_deployments,
    register_deployment,
)
from acm_export_deployments_client.models import (  # noqa: E402
    DeploymentRequest,
    ListDeploymentsStatus,
    Refusal,
    Started,
    Status,
)


class Signed(httpx.Auth):
    requires_request_body = True

    def auth_flow(self, request):
        signed = signed_headers(request.method, str(request.url), request.content, request.headers)
        request.headers.update(signed)
        yield request


client = Client(base_url=os.environ["API_URL"], httpx_args={"auth": Signed(), "trust_env": False}, timeout=60)

refused = register_deployment.sync(
    cert_name,
    client=client,
    body=DeploymentRequest(target_tag_key="acm-export", target_tag_value=tag_value),
)
assert isinstance(refused, Refusal) and refused.faults[0].field == "CertificateArn", refused

started = register_deployment.sync(
    cert_name,
    client=client,
    body=DeploymentRequest(
        certificate_arn=os.environ["CERTIFICATE_ARN"],
        target_tag_key="acm-export",
        target_tag_value=tag_value,
        reload_services=["tls-server"],
        verify_port=int(verify_port),
    ),
)
assert isinstance(started, Started), started
for _ in range(600):
    deployment = get_deployment.sync(cert_name, started.deployment_id, client=client)
    if deployment.status != Status.ROLLING_OUT:
        break
    time.sleep(0.5)
page = list_deployments.sync(client=client, status=ListDeploymentsStatus.INSTALLED)
print(
    json.dumps(
        {
            "status": deployment.status,
            "serial": [deployment.serial == started.serial, *(node.serial == started.serial for node in deployment.nodes)],
            "listed": [found.deployment_id == started.deployment_id for found in page.deployments],
        }
    )
)
