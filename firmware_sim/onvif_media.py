"""What a simulated ONVIF camera says of its media profiles, in the words of its first or of its second media service.

Written from the Media and Media2 Service Specifications; both speak of the same pictures.
"""

from __future__ import annotations

SPACES = {"trt": "http://www.onvif.org/ver10/media/wsdl", "tr2": "http://www.onvif.org/ver20/media/wsdl"}
_LASTING = (
    "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
    "<tt:Timeout>PT0S</tt:Timeout>"
)


def profiles(service: str, sources: int, token: str, *, whole: bool = True) -> str:
    """Two profiles a video source. `whole` False: the second service tells names only, unless it is asked for more."""
    rows = "".join(
        (_first if service == "trt" else _second)(n, kind, token.format(n=n), whole=whole)
        for n in range(1, sources + 1)
        for kind in ("main", "sub")
    )
    return f"<{service}:GetProfilesResponse>{rows}</{service}:GetProfilesResponse>"


def _source(number: int, token: str) -> str:
    return (
        f"<tt:Name>vsc{number}</tt:Name><tt:UseCount>2</tt:UseCount><tt:SourceToken>{token}</tt:SourceToken>"
        '<tt:Bounds x="0" y="0" width="1920" height="1080"/>'
    )


def _size(kind: str) -> tuple[int, int, int]:
    return (1920, 1080, 25) if kind == "main" else (640, 360, 10)


def _first(number: int, kind: str, token: str, *, whole: bool) -> str:
    width, height, rate = _size(kind)
    return (
        f'<trt:Profiles token="{kind}{number}" fixed="{str(whole).lower()}"><tt:Name>{kind} {number}</tt:Name>'
        f'<tt:VideoSourceConfiguration token="vsc{number}">{_source(number, token)}</tt:VideoSourceConfiguration>'
        f'<tt:VideoEncoderConfiguration token="vec{number}{kind}"><tt:Name>{kind}</tt:Name>'
        "<tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>"
        f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution><tt:Quality>5</tt:Quality>"
        f"<tt:RateControl><tt:FrameRateLimit>{rate}</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval>"
        "<tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles>"
    )


def _second(number: int, kind: str, token: str, *, whole: bool) -> str:
    width, height, rate = _size(kind)
    more = (
        f'<tr2:Configurations><tr2:VideoSource token="vsc{number}">{_source(number, token)}</tr2:VideoSource>'
        f'<tr2:VideoEncoder token="vec{number}{kind}" GovLength="50" Profile="Main"><tt:Name>{kind}</tt:Name>'
        "<tt:UseCount>1</tt:UseCount><tt:Encoding>H265</tt:Encoding>"
        f"<tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>"
        f'<tt:RateControl ConstantBitRate="false"><tt:FrameRateLimit>{rate}.000000</tt:FrameRateLimit>'
        "<tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl><tt:Quality>5</tt:Quality></tr2:VideoEncoder>"
        "</tr2:Configurations>"
    )
    name = f"<tr2:Name>{kind} {number}</tr2:Name>"
    return f'<tr2:Profiles token="{kind}{number}" fixed="true">{name}{more if whole else ""}</tr2:Profiles>'


def uri(service: str, operation: str, address: str) -> str:
    """An answer that is an address."""
    told = (
        f"<trt:MediaUri><tt:Uri>{address}</tt:Uri>{_LASTING}</trt:MediaUri>"
        if service == "trt"
        else f"<tr2:Uri>{address}</tr2:Uri>"
    )
    return f"<{service}:{operation}Response>{told}</{service}:{operation}Response>"
