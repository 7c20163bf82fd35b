"""Generated cities: street plan, network, signal programs and traffic from one seed."""
