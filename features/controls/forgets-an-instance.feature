@control @services @gate
Feature: Control: a rollback that forgets an instance

  The plan was written when there were two instances. It succeeds, and the third goes on serving the bad release to
  one user in three.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 40 journeys per second by 50 users

  Scenario: The third instance keeps the bad release
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-an-instance"
    Then the drill fails because "every instance serves the target release"
