@database @critical @gate
Feature: Rolling back a data migration that corrupts totals

  v2-corrupts-totals rounds the totals of all orders, and keeps what it changed beside. No schema changes and no
  request fails. The rollback must bring every total back, of old orders and of those that came just before.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan brings every total back from the copy
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
