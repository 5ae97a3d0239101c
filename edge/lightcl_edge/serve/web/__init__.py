"""The server's face to the network: pages, interface, and who may come in."""
