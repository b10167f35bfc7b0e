"""All claims of both papers."""

from lenet_alexnet.reproduce import cifar10, fig9, krizhevsky2012, lecun1998
from lenet_alexnet.reproduce.claims import Claim

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (*lecun1998.CLAIMS, *fig9.CLAIMS, *krizhevsky2012.CLAIMS, *cifar10.CLAIMS)
}
