"""Who is told of each inspection: webhooks and MQTT from an outbox, and a controller by Modbus."""
