@containers @database @gate
Feature: Rolling a migration back by a job that runs once

  Goose runs in a container of its own, which ends when the migration is taken back. It is started from the image of the
  release whose migration it takes back: the image before it does not have that one.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The job brings the column back with its data
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "one-shot-job"
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
