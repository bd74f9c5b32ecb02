@control @infrastructure @ansible @gate
Feature: Control: a playbook that restarts only what it changed

  The first run dies when it has put the settings of before in place on the second instance and has not restarted it. The second run
  finds them there, so nothing has changed, and no handler restarts anything.

  Background:
    Given the service "bistro"
    And 40 journeys per second by 20 users

  Scenario: Nothing is left to be changed on an instance that runs with the bad settings
    When release "v2-loses-patience" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "restarts-what-changed"
    And the machine that runs it dies when step 1 says "changed: [bistro-2]"
    Then the drill fails because "every instance serves the target release"
