"""An identity provider that knows several users by their tokens, as those of hubs do."""

from jupyter_server.auth.identity import IdentityProvider, User

__all__ = ["TOKENS", "Classroom"]

TOKENS = {"ana": "token-of-ana", "ben": "token-of-ben"}


class Classroom(IdentityProvider):
    """Users by name."""

    def get_user_token(self, handler):
        """Return the user whose token the request has."""
        token = self.get_token(handler)
        return next((User(name) for name, known in TOKENS.items() if known == token), None)
