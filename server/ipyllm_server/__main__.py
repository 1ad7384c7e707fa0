"""Starts the chat server alone on loopback: ``python -m ipyllm_server``."""

from ipyllm_server.standalone import main

if __name__ == "__main__":
    main()
