@control @containers @gate
Feature: Control: a rollback that takes blue for green

  The plan was written for a release on blue. It sends users to where they are already, and deploys the old release to
  where it is already.

  Background:
    Given the service "stall"
    And 40 journeys per second by 20 users

  Scenario: Users stay on the bad release
    When release "v2-misprints-green" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "mixes-up-the-colours"
    Then the drill fails because "every instance serves the target release"
