"""A wrong option is an error, and never a limit that does not hold."""

import pytest
from traitlets import TraitError
from traitlets.config import Config

from ipyllm_server.app import ChatServer


class Server:
    """What the extension reads of Jupyter's server."""

    config = Config({"ChatServer": {"calls_per_user": "many"}})


def test_a_limit_that_is_no_number_lets_no_chat_begin():
    extension = ChatServer()
    extension.serverapp = Server()
    with pytest.raises(TraitError, match="calls_per_user"):
        extension.initialize_settings()
