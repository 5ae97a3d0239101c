"""The broker's address, and a password that stays secret."""

import pytest

from lightcl_edge.errors import UsageError
from lightcl_edge.serve.mqtt.discovery import board_id
from lightcl_edge.serve.mqtt.options import PASSWORD_VARIABLE, MqttOptions, mqtt_options


def test_an_address_names_user_port_and_encryption(tmp_path):
    (tmp_path / "ca.pem").touch()
    (tmp_path / "password").write_text("two words\n")
    plain = mqtt_options("mqtt://home.local", environment={})
    assert plain == MqttOptions("home.local", 1883)
    full = mqtt_options("mqtts://a%40b@[::1]:99", tmp_path / "password", tmp_path / "ca.pem", environment={})
    assert full == MqttOptions("::1", 99, "a@b", "two words", tls=True, authority=tmp_path / "ca.pem")
    assert "two words" not in repr(full)
    assert mqtt_options("mqtts://u@h", environment={PASSWORD_VARIABLE: "two words"}).password == full.password
    assert mqtt_options("mqtts://h", environment={}).port == 8883


@pytest.mark.parametrize(
    "url", ["", "home.local", "http://h", "mqtt://", "mqtt://h:port", "mqtt://h/topic", "mqtt://[", "mqtt://u:secret@"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match="expected mqtt://USER@HOST") as error:
        mqtt_options(url, environment={})
    assert "secret" not in str(error.value)


def test_a_password_on_the_command_line_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--mqtt-password-file") as error:
        mqtt_options("mqtt://user:secret@host", environment={})
    assert "secret" not in str(error.value)
    with pytest.raises(UsageError, match="no user"):
        mqtt_options("mqtt://host", environment={PASSWORD_VARIABLE: "x"})
    with pytest.raises(UsageError, match="can't be read"):
        mqtt_options("mqtt://u@host", tmp_path / "missing", environment={})
    with pytest.raises(UsageError, match="expected a PEM file"):
        mqtt_options("mqtt://u@host", authority=tmp_path, environment={})


@pytest.mark.parametrize(
    ("name", "id"), [("Küche 2", "lightcl_k_che_2"), ("pi/#+", "lightcl_pi"), ("💡", "lightcl_board")]
)
def test_any_name_gives_an_id_that_a_topic_may_hold(name, id):
    assert board_id(name) == id
