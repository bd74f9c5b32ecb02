@control @kubernetes @gate
Feature: Control: helm rollback to a revision that failed

  Without a number Helm goes back by one revision, which is the try that failed. It reports success; no pod of it
  comes up, and those of the bad release go on.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The bad release goes on
    When release "v2-second-try" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "revision-that-failed"
    Then the drill fails because "every instance serves the target release"
