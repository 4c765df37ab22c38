"""The ECS API: signing, the wire's shapes, the client."""
