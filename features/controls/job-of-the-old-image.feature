@control @containers @database @gate
Feature: Control: a migration job from the image of the old release

  The job is started from the image that comes back, which does not have the migration that must go. Goose cannot find it
  and ends with an error: the plan stops where it is, and whoever wrote it had tried it on the wrong image.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The column does not come back
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "job-of-the-old-image"
    Then the drill fails because "every node has the schema of before"
