"""TenantProfile: when suits a tenant, and where it stands. The tenant writes `spec`, the operator `status`."""

from typing import Annotated

from tenantwave.api.conditions import Condition
from tenantwave.api.model import ApiModel, Choice, about
from tenantwave.api.scalars import Instant, LabelValue, Name, ZoneName
from tenantwave.api.windows import DAYS_EXAMPLE, MAX_FREEZES, MAX_WINDOWS, Freeze, Hours, Opening, Window

MAX_NOTICES = 8
"""So many notices a profile shows."""


class Audience(Choice):
    """Who is told by a contact."""

    CUSTOMERS = "Customers", "the tenant's own people"
    PARTNERS = "Partners", "third parties who work for the tenant"
    INTERNAL = "Internal", "the platform's staff"


class Contact(ApiModel):
    """Whom to tell, by a route that the platform resolves."""

    audience: Annotated[Audience, about("Who is told.", example="Customers")]
    route: Annotated[Name, about("A route's name, never a URL.", example="acme")]


class TenantProfileSpec(ApiModel):
    """When suits the tenant. All optional."""

    time_zone: Annotated[
        ZoneName | None, about("The tenant's IANA zone.", example="America/New_York", absent="`maintenance.defaultTimeZone` of the policy")
    ] = None
    windows: Annotated[
        tuple[Window, ...],
        about(
            "When the tenant may be upgraded; they replace the policy's default windows.",
            example=[{"name": "nightly", "weekly": {"days": DAYS_EXAMPLE, "start": "02:00", "duration": "3h"}}],
            absent="the policy's `defaultWindows`, else its `whenNoWindow`",
            max_length=MAX_WINDOWS,
            keys=("name",),
        ),
    ] = ()
    freezes: Annotated[
        tuple[Freeze, ...],
        about(
            "When the tenant must not be upgraded; they win over windows.",
            example=[{"name": "tax-season", "yearly": {"from": "03-15", "to": "04-20"}}],
            absent="no freezes",
            max_length=MAX_FREEZES,
            keys=("name",),
        ),
    ] = ()
    business_hours: Annotated[
        Hours | None,
        about(
            "The tenant's hours of work; they close nothing and only set the urgency of incidents.",
            example={"days": ["Mon"], "start": "09:00", "duration": "9h"},
            absent="not known",
        ),
    ] = None
    contacts: Annotated[
        tuple[Contact, ...],
        about(
            "Whom to tell.",
            example=[{"audience": "Customers", "route": "acme"}],
            absent="the platform's own route",
            max_length=16,
            keys=("audience", "route"),
        ),
    ] = ()


class ProductStatus(ApiModel):
    """Which version of a product the tenant runs; the record itself is in the operator's namespace."""

    name: Annotated[LabelValue, about("The product.", example="shop")]
    version: Annotated[LabelValue, about("The version that the tenant runs.", example="2.3.1")]
    last_stable_version: Annotated[
        LabelValue | None, about("The last version that passed gates and soak.", example="2.3.1", absent="none yet")
    ] = None
    since: Annotated[Instant | None, about("Since when it runs that version; UTC.", example="2026-11-01T02:10:00Z", absent="not known")] = (
        None
    )


class ProfileUpgrade(ApiModel):
    """The upgrade that has the tenant, else the one that starts next, else the last one."""

    name: Annotated[str, about("The TenantUpgrade.", example="shop-2-4-0", max_length=40)]
    run: Annotated[str, about("The run.", example="shop-2-4-0-x7f2k-1-a1", absent="not begun", max_length=63)] = ""
    wave: Annotated[str, about("The tenant's wave.", example="canary", absent="none yet", max_length=40)] = ""
    position: Annotated[str, about("Which wave of how many.", example="wave 1 of 5", absent="none yet", max_length=40)] = ""
    state: Annotated[str, about("The tenant's state, as in its TenantRun.", example="Waiting", max_length=32)]
    reason: Annotated[str, about("Why, in one CamelCase word.", example="OutsideWindow", absent="none", max_length=63)] = ""
    message: Annotated[
        str, about("Why, in a sentence.", example="opens Sat 23:00 America/New_York (04:00Z)", absent="none", max_length=1024)
    ] = ""
    planned_start_time: Annotated[
        Instant | None,
        about("When the tenant is expected to start; UTC.", example="2026-12-06T04:00:00Z", absent="not known, or already started"),
    ] = None


class WindowStatus(ApiModel):
    """Whether the tenant's door is open."""

    open: Annotated[bool, about("Whether the tenant may start now, as far as the calendar goes.", example=False)]
    reason: Annotated[str, about("Why not, in one CamelCase word.", example="OutsideWindow", absent="it is open", max_length=63)] = ""
    message: Annotated[
        str, about("Why not, in a sentence.", example="opens Sat 23:00 America/New_York (04:00Z)", absent="it is open", max_length=1024)
    ] = ""
    next_open_time: Annotated[
        Instant | None,
        about(
            "When it opens next, or, while it is open, when it opens again; UTC.",
            example="2026-12-06T04:00:00Z",
            absent="no further opening is in sight",
        ),
    ] = None
    next_close_time: Annotated[
        Instant | None, about("When it closes next; UTC.", example="2026-12-06T09:00:00Z", absent="it does not close")
    ] = None
    upcoming: Annotated[
        tuple[Opening, ...],
        about(
            "The next openings.",
            example=[{"start": "2026-12-06T04:00:00Z", "end": "2026-12-06T09:00:00Z"}],
            absent="none",
            max_length=5,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class PreservedConfig(ApiModel):
    """What became of one ConfigMap in the last upgrade."""

    config_map: Annotated[str, about("The ConfigMap.", example="app-config", max_length=253)]
    digest: Annotated[str, about("Digest of its data.", example="sha256:" + "0" * 64, max_length=71)]
    kept: Annotated[int, about("The tenant's own edits that were kept.", example=4, ge=0)] = 0
    merged: Annotated[int, about("Keys in which both sides' changes were joined.", example=1, ge=0)] = 0


class Change(ApiModel):
    """One change to the tenant."""

    time: Annotated[Instant, about("When; UTC.", example="2026-12-06T01:00:00Z")]
    actor: Annotated[str, about("Who.", example="tenantwave", max_length=128)]
    object: Annotated[str, about("What was changed.", example="Deployment/api", max_length=128)]
    action: Annotated[str, about("How.", example="Upgrade", max_length=32)]
    from_: Annotated[str, about("Version, digest or time before.", example="2.3.1", absent="none", max_length=71, alias="from")] = ""
    to: Annotated[str, about("Version, digest or time after.", example="2.4.0", absent="none", max_length=71)] = ""
    why: Annotated[str, about("Why: upgrade, wave, decision.", example="shop-2-4-0, wave canary", absent="not known", max_length=128)] = ""


class GivenNotice(ApiModel):
    """What the tenant was told about an upgrade, and when: its lead counts from here."""

    upgrade: Annotated[str, about("The TenantUpgrade.", example="shop-2-4-0", max_length=40)]
    version: Annotated[LabelValue, about("The version that the tenant goes to.", example="2.4.0")]
    digest: Annotated[str, about("Digest of the words: other words are another notice.", example="sha256:" + "0" * 64, max_length=71)]
    time: Annotated[Instant, about("When it was told; UTC.", example="2026-11-16T00:00:00Z")]
    title: Annotated[str, about("The headline.", example="Shop 2.4", absent="none was written", max_length=200)] = ""
    changes: Annotated[str, about("What changes.", example="faster search", absent="none was written", max_length=4096)] = ""
    benefits: Annotated[
        str, about("What it is good for.", example="orders in half the time", absent="none was written", max_length=4096)
    ] = ""
    risks: Annotated[str, about("What may go wrong.", example="a short read-only time", absent="none was written", max_length=4096)] = ""
    url: Annotated[
        str, about("Where to read more.", example="https://example.com/releases/2.4.0", absent="none was written", max_length=2048)
    ] = ""


class TenantProfileStatus(ApiModel):
    """Where the tenant stands."""

    observed_generation: Annotated[int, about("The generation that this status is about; -1 before the first look.", example=1, ge=-1)] = -1
    conditions: Annotated[
        tuple[Condition, ...],
        about(
            "WindowsValid.",
            example=[{"type": "WindowsValid", "status": "True", "reason": "Valid"}],
            absent="not looked at yet",
            max_length=8,
            keys=("type",),
        ),
    ] = ()
    versions: Annotated[str, about("Products and versions in one line.", example="shop 2.3.1", absent="none recorded", max_length=512)] = ""
    products: Annotated[
        tuple[ProductStatus, ...],
        about(
            "Which versions the tenant runs.",
            example=[{"name": "shop", "version": "2.3.1"}],
            absent="none recorded",
            max_length=16,
            keys=("name",),
        ),
    ] = ()
    upgrade: Annotated[
        ProfileUpgrade | None,
        about(
            "The upgrade in flight, else the one that starts next, else the last one.",
            example={"name": "shop-2-4-0", "state": "Waiting"},
            absent="no upgrade selects the tenant",
        ),
    ] = None
    window: Annotated[
        WindowStatus | None,
        about(
            "Whether the tenant's door is open.", example={"open": False, "reason": "OutsideWindow"}, absent="no upgrade selects the tenant"
        ),
    ] = None
    preserved: Annotated[
        tuple[PreservedConfig, ...],
        about(
            "What became of the tenant's ConfigMaps in the last upgrade.",
            example=[{"configMap": "app-config", "kept": 4}],
            absent="none",
            max_length=32,
            keys=("configMap",),
        ),
    ] = ()
    recent_changes: Annotated[
        tuple[Change, ...],
        about(
            "The last changes to the tenant, newest first.",
            example=[{"actor": "tenantwave", "object": "Deployment/api", "action": "Upgrade"}],
            absent="none",
            max_length=20,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    notices: Annotated[
        tuple[GivenNotice, ...],
        about(
            "What the tenant was told about upgrades, newest first.",
            example=[{"upgrade": "shop-2-4-0", "version": "2.4.0", "time": "2026-11-16T00:00:00Z"}],
            absent="nothing yet",
            max_length=MAX_NOTICES,
            extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
