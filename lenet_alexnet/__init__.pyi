from lenet_alexnet.data import Dataset as Dataset
from lenet_alexnet.data import InMemory as InMemory
from lenet_alexnet.library.network import Network as Network
from lenet_alexnet.library.network import load as load
from lenet_alexnet.library.network import trained_networks as trained_networks
from lenet_alexnet.library.preprocess import preprocess as preprocess
from lenet_alexnet.library.train import train as train
from lenet_alexnet.models import create_model as create_model
from lenet_alexnet.models import features as features

__version__: str
