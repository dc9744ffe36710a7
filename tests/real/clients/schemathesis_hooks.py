"""Signs what schemathesis sends, as the environment says, and leaves out what is no request of this API."""

import os

import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from requests.auth import AuthBase

# A web server refuses longer ones before the API sees them: API Gateway at 10,240 bytes, Node.js at 16 KB.
LONGEST_QUERY = 4000


class Signed(AuthBase):
    def __call__(self, request):
        kept = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
        asked = AWSRequest(method=request.method, url=request.url, data=request.body or b"", headers=kept)
        credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(credentials, "execute-api", os.environ["AWS_REGION"]).add_auth(asked)
        request.headers.update(dict(asked.headers))
        return request


schemathesis.auth.set_from_requests(Signed())


@schemathesis.hook
def filter_query(context, query):
    return len(repr(query)) < LONGEST_QUERY
