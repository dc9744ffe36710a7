"""Signs requests to the API with the credentials of the environment, as `make local` prints them."""

import os

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def signed_headers(method, url, body, headers):
    """The headers of the signature, which covers Content-Type where there is one."""
    kept = {name: value for name, value in headers.items() if name.lower() == "content-type"}
    asked = AWSRequest(method=method, url=url, data=body, headers=kept)
    credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, "execute-api", os.environ["AWS_REGION"]).add_auth(asked)
    return dict(asked.headers)
