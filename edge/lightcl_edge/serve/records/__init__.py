"""What the interface over the network takes and gives, as records; ``/api/v1/openapi.json`` is made of them."""
