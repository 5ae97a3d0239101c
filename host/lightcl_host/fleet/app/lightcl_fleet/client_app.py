"""A board. ``--node-config 'state="/var/lib/lightcl/state"'`` of flower-supernode says where its state is."""

from pathlib import Path

from flwr.app import Context, Message
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp

from lightcl_edge.fleet.member import Member

from .secure import answer_of, order_of
from .wire import packed, unpacked

app = ClientApp()


@app.query("share")
def share(message: Message, context: Context) -> Message:
    document, _ = unpacked(message.content)
    return _answer(message, *_member(context).share(document["known"]))


@app.train("merge")
def merge(message: Message, context: Context) -> Message:
    _, files = unpacked(message.content)
    member = _member(context)
    document = member.merge(files)
    if document.get("erased_classes"):
        return _answer(message, document, member.share({})[1])
    return _answer(message, document, None)


@app.query("head")
def head(message: Message, context: Context) -> Message:
    _, files = unpacked(message.content)
    return _answer(message, *_member(context).train_head(files))


@app.query("announce")
def announce(message: Message, context: Context) -> Message:
    document, _ = unpacked(message.content)
    return _answer(message, _member(context).announce(document["counted"], document["erased"]), None)


@app.train(mods=[secaggplus_mod])
def vector(message: Message, context: Context) -> Message:
    """Flower calls this only when it is time to give the vector, and masks it."""
    return answer_of(message, _member(context).kept.vector(order_of(message)))


def _answer(message: Message, document: dict[str, object], file: bytes | None) -> Message:
    return Message(packed(document, {} if file is None else {"knowledge": file}), reply_to=message)


def _member(context: Context) -> Member:
    node, run = context.node_config, context.run_config
    if "state" not in node and "partition-id" in node and run["states"]:
        state = str(run["states"]).replace("{}", str(node["partition-id"]))
        return Member(Path(state), max_forgetting=float(run["max-forgetting"]))
    if "state" not in node:
        raise ValueError("""start flower-supernode with --node-config 'state="FOLDER"'""")
    paths = {name: Path(str(node[name])) for name in ("bundle", "sign", "key") if name in node}
    name, forgetting = node.get("board"), node.get("max-forgetting")
    return Member(
        Path(str(node["state"])),
        name=None if name is None else str(name),
        max_forgetting=None if forgetting is None else float(forgetting),
        **paths,
    )
