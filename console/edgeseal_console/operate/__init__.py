"""What an operator does: keys, contracts, keysets, enrolment, commands, models. Each writes what it did and says so."""
