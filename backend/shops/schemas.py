"""What the log-in endpoints take and give."""

from pydantic import BaseModel, ConfigDict, Field


class ShopOut(BaseModel):
    """A shop."""

    id: str
    slug: str
    name: str


class UserOut(BaseModel):
    """A member of a shop's staff."""

    id: str
    email: str


class MeOut(BaseModel):
    """Who the caller is. `user` is null for API keys."""

    shop: ShopOut
    user: UserOut | None


class LoginIn(BaseModel):
    """Log in with a password. Without one, only a login link lets people in."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(min_length=3, max_length=254)
    password: str = Field(min_length=1, max_length=1000)
