"""What tests are made with; no tests in here."""
