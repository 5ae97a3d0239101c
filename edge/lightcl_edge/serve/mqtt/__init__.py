"""The link to Home Assistant and whatever else speaks MQTT."""
