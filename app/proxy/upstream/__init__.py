"""Model servers: their connections, pools, health, and the circuit breaker."""
