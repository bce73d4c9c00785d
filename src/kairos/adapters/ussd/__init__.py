"""Dialogues by USSD: `dialogues` holds them, `http` and `smpp` speak with gateways, `doors` holds those together."""
