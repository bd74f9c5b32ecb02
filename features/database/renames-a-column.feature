@database @critical @gate
Feature: Rolling back a release that renames a column

  v2-renames-a-column calls orders.cancelled_at voided_at, and one query still uses the old name. The rollback must
  bring the name back with all that the column holds, and nothing that was taken back may stand again.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan renames the column back
    When release "v2-renames-a-column" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
