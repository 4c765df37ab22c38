"""Restart fleets of Huawei Cloud ECS servers through the batch-restart API."""
