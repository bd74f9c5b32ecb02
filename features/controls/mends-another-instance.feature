@control @services @gate
Feature: Control: a rollback of another instance than the one that has the release

  The plan was written for a rollout that begins with the last instance. This one began with the first, which keeps
  the bad release.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 60 journeys per second by 30 users

  Scenario: The instance with the bad release is left alone
    When release "v2-reaches-one-instance" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "mends-another-instance"
    Then the drill fails because "every instance serves the target release"
