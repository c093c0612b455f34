account_id = "333333333333"
region     = "eu-west-1"

sqs_queues = {
  "shop-prod-events"             = { retention_days = 4 }
  "shop-prod-events-dead-letter" = { retention_days = 14 }
}
