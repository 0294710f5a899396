"""Background polling: planners decide what is due, the recorder asks ledger and journal, the poller sends."""
