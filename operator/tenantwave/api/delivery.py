"""The components of a release: how each is delivered, and by which driver its version changes."""

from typing import Annotated

from pydantic import Field

from tenantwave.api.conditions import ConditionStatus
from tenantwave.api.meta import LabelSelector
from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import JsonAnything, JsonObject, Name, Pointer, TemplateName, bounded_text

_ABSENT_DRIVER = "another driver is given"


class WorkloadKind(Choice):
    """The kinds of workloads whose images we change."""

    DEPLOYMENT = "Deployment", "`apps/v1`"
    STATEFUL_SET = "StatefulSet", "`apps/v1`"
    DAEMON_SET = "DaemonSet", "`apps/v1`"
    CRON_JOB = "CronJob", "`batch/v1`"


class ContainerImage(ApiModel):
    """One container, or init container, and its image."""

    name: Annotated[Name, about("The container's name; init containers count.", example="api")]
    image: Annotated[
        str,
        *bounded_text(1024, r"^[^ \t\r\n]+$", "must be an image without blanks, such as registry.example.com/shop/api:2.4.0"),
        about("The image; `{tenant}` and `{version}` are replaced.", example="registry.example.com/shop/api:2.4.0"),
    ]


class Workload(ApiModel):
    """Images of a workload."""

    rules = (
        Rule("has(self.name) != has(self.selector)", "must have exactly one of `name` and `selector`"),
        Rule("!has(self.probe) || !self.probe || self.kind == 'CronJob'", "must have `probe` only with `kind: CronJob`"),
    )

    kind: Annotated[WorkloadKind, about("The workload's kind.", example="Deployment")]
    name: Annotated[
        TemplateName | None,
        about("The workload's name; `{tenant}` and `{version}` are replaced.", example="api", absent="`selector` is given"),
    ] = None
    selector: Annotated[
        LabelSelector | None,
        about("Takes every workload of this kind with these labels.", example={"matchLabels": {"app": "api"}}, absent="`name` is given"),
    ] = None
    containers: Annotated[
        tuple[ContainerImage, ...],
        about(
            "The containers whose image changes.",
            example=[{"name": "api", "image": "registry.example.com/shop/api:2.4.0"}],
            min_length=1,
            max_length=16,
            keys=("name",),
        ),
    ]
    probe: Annotated[bool | None, about("For a CronJob: whether its Job runs once as a probe.", example=True, absent="false")] = None


class HelmRelease(ApiModel):
    """A HelmRelease of Flux."""

    name: Annotated[TemplateName, about("The HelmRelease's name; `{tenant}` and `{version}` are replaced.", example="shop")]
    version: Annotated[
        str | None, about("The chart's version.", example="2.4.0", absent="the chart's version stays", min_length=1, max_length=128)
    ] = None
    values: Annotated[
        JsonObject | None, about("Values to set; other values stay.", example={"image": {"tag": "2.4.0"}}, absent="no values are set")
    ] = None


class FluxImage(ApiModel):
    """One image of a Flux Kustomization."""

    name: Annotated[str, about("The image's name.", example="shop/api", min_length=1, max_length=512)]
    new_name: Annotated[
        str | None, about("The new name.", example="registry.example.com/shop/api", absent="the name stays", min_length=1, max_length=512)
    ] = None
    new_tag: Annotated[str | None, about("The new tag.", example="2.4.0", absent="the tag stays", min_length=1, max_length=128)] = None
    digest: Annotated[
        str | None, about("The new digest.", example="sha256:" + "0" * 64, absent="no digest", min_length=1, max_length=128)
    ] = None


class FluxKustomization(ApiModel):
    """A Kustomization of Flux that serves this tenant alone."""

    name: Annotated[TemplateName, about("The Kustomization's name; `{tenant}` and `{version}` are replaced.", example="shop-{tenant}")]
    namespace: Annotated[TemplateName | None, about("Its namespace.", example="flux-system", absent="the tenant's namespace")] = None
    images: Annotated[
        tuple[FluxImage, ...],
        about(
            "All of `spec.images`.", example=[{"name": "shop/api", "newTag": "2.4.0"}], absent="images stay", max_length=32, keys=("name",)
        ),
    ] = ()
    substitute: Annotated[
        dict[str, Annotated[str, about("The value.", example="2.4.0", max_length=1024)]],
        about("Keys of `spec.postBuild.substitute` to set.", example={"SHOP_VERSION": "2.4.0"}, absent="none are set", max_length=64),
    ] = Field(default={})


class HelmParameter(ApiModel):
    """One Helm parameter of an Argo CD source."""

    name: Annotated[str, about("The parameter.", example="image.tag", min_length=1, max_length=253)]
    value: Annotated[str, about("Its value.", example="2.4.0", max_length=1024)]
    force_string: Annotated[bool | None, about("Whether the value is a string whatever it looks like.", example=True, absent="false")] = (
        None
    )


class ArgoApplication(ApiModel):
    """An Application of Argo CD that serves this tenant alone."""

    name: Annotated[TemplateName, about("The Application's name; `{tenant}` and `{version}` are replaced.", example="shop-{tenant}")]
    namespace: Annotated[TemplateName | None, about("Its namespace.", example="argocd", absent="the tenant's namespace")] = None
    target_revision: Annotated[
        str | None, about("The source's targetRevision.", example="v2.4.0", absent="the revision stays", min_length=1, max_length=256)
    ] = None
    source_index: Annotated[int | None, about("Which of `spec.sources`, from 0.", example=0, absent="`spec.source`", ge=0, le=31)] = None
    helm_parameters: Annotated[
        tuple[HelmParameter, ...],
        about(
            "Helm parameters to set.",
            example=[{"name": "image.tag", "value": "2.4.0"}],
            absent="none are set",
            max_length=64,
            keys=("name",),
        ),
    ] = ()
    kustomize_images: Annotated[
        tuple[Annotated[str, about("An image override.", example="shop/api:2.4.0", min_length=1, max_length=1024)], ...],
        about(
            "Kustomize images to set.",
            example=["shop/api:2.4.0"],
            absent="none are set",
            max_length=32,
            extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()


class ReadyConditionRule(ApiModel):
    """Which condition says that the object is ready."""

    type: Annotated[str, about("The condition's type.", example="Ready", min_length=1, max_length=316)]
    status: Annotated[ConditionStatus | None, about("The status that means ready; in quotes.", example="True", absent="True")] = None


class CustomResource(ApiModel):
    """One field of any object."""

    api_version: Annotated[str, about("The object's apiVersion.", example="db.example.com/v1", min_length=1, max_length=253)]
    kind: Annotated[str, about("The object's kind.", example="Database", min_length=1, max_length=63)]
    name: Annotated[TemplateName, about("The object's name; `{tenant}` and `{version}` are replaced.", example="main")]
    version_path: Annotated[Pointer, about("JSON pointer to the field that holds the version.", example="/spec/version")]
    value: Annotated[JsonAnything, about("The field's new value; in a string `{tenant}` and `{version}` are replaced.", example="16")]
    observed_version_path: Annotated[
        Pointer | None,
        about(
            "JSON pointer to the field that shows the version that runs.",
            example="/status/version",
            absent="refused: without it nobody can tell which version runs",
        ),
    ] = None
    ready_condition: Annotated[
        ReadyConditionRule | None,
        about(
            "Which condition says that it is ready.",
            example={"type": "Ready", "status": "True"},
            absent="`observedVersionPath` alone decides",
        ),
    ] = None
    downgrade: Annotated[
        bool | None,
        about("Whether the object can go back to a lower version.", example=True, absent="false: the way back is only forwards"),
    ] = None


class Component(ApiModel):
    """One part of a release. Exactly one driver."""

    rules = (
        Rule(
            "[has(self.workload), has(self.helmRelease), has(self.fluxKustomization), has(self.argoApplication), has(self.customResource)]"
            ".filter(x, x).size() == 1",
            "must have exactly one of `workload`, `helmRelease`, `fluxKustomization`, `argoApplication` and `customResource`;"
            " give each driver a component of its own",
        ),
    )

    name: Annotated[Name, about("A unique name.", example="api")]
    optional: Annotated[
        bool | None, about("Whether it is skipped where a tenant lacks it.", example=True, absent="false: a tenant that lacks it is Held")
    ] = None
    workload: Annotated[
        Workload | None,
        about(
            "Images of a Deployment, StatefulSet, DaemonSet or CronJob.",
            example={"kind": "Deployment", "name": "api"},
            absent=_ABSENT_DRIVER,
        ),
    ] = None
    helm_release: Annotated[
        HelmRelease | None, about("A HelmRelease of Flux.", example={"name": "shop", "version": "2.4.0"}, absent=_ABSENT_DRIVER)
    ] = None
    flux_kustomization: Annotated[
        FluxKustomization | None,
        about("A Kustomization of Flux.", example={"name": "shop-{tenant}", "namespace": "flux-system"}, absent=_ABSENT_DRIVER),
    ] = None
    argo_application: Annotated[
        ArgoApplication | None,
        about("An Application of Argo CD.", example={"name": "shop-{tenant}", "targetRevision": "v2.4.0"}, absent=_ABSENT_DRIVER),
    ] = None
    custom_resource: Annotated[
        CustomResource | None, about("One field of any object.", example={"kind": "Database", "name": "main"}, absent=_ABSENT_DRIVER)
    ] = None
